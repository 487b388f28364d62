"""What people would use instead, each in a process of its own, used as its documentation says."""
