from fakesweep.workers.error_text import MAX_CHARACTERS, one_line


def test_what_a_stranger_wrote_into_a_file_is_one_short_printable_line() -> None:
    said = one_line(ValueError("bad chunk\n\x1b[2J\x00\udc80" + "x" * 300_000))
    assert said.startswith(r"bad chunk \x1b[2J\x00\udc80xxx")
    assert said.isprintable()
    assert len(said) < MAX_CHARACTERS + 20


def test_an_error_without_words_is_told_by_its_name() -> None:
    assert one_line(MemoryError()) == "MemoryError"
    assert one_line(ValueError(" \n ")) == "ValueError"
