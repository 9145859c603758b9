"""What a request runs through: each flow reads as its list of steps."""
