"""What tests of chains need: a fake provider with known answers, faults and its own ledger of calls (`provider`)."""
