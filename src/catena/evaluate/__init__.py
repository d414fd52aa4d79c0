"""How good labels are, and what other chains would have done."""
