"""The command a person types, and the local stack it can bring along."""
