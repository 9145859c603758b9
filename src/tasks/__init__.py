"""One step each: validate, resolve a model, convert, call, render, count."""
