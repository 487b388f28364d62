"""What the network and storage are to us: the guard on outgoing addresses, and refusals."""
