"""What is asked over REST, one file per job."""
