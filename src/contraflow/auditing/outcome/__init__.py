"""What an audit leaves: its result, a row for each question, and how both lie in a folder."""
