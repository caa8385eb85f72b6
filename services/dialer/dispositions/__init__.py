"""What is said of a call afterwards, by agents here and in crm: to the attempt, to its lead."""
