"""What an edited model still believes: questions, answers, verdicts, rates with intervals."""
