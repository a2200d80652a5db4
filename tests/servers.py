def missing_program(name: str) -> str | None:
    return None
