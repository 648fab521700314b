"""What a user asks for, and what is refused before any model loads."""
