"""Stand-ins for everybody outside: issuer, checks, carrier and payout provider, in one process and in memory, as slow,
wrong and busy as the real ones. `docs/sandbox.md` has the table of numbers that choose what happens."""
