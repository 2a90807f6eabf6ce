"""What a proposal can do: each operator is a file with a frozen spec and the jobs that carry it out."""
