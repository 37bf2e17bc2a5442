from benchmarks import results

KINDS = ("linear-stats", "step")


def table(kind, title, figure):
    return f"## {kind}: {title}\n\n| way |\n| --- |\n| {figure} |\n\na note\n"


def test_a_table_takes_the_place_of_its_kind_on_its_device_and_nothing_else(tmp_path):
    file = tmp_path / "RESULTS.md"
    results.write(file, "CPU: some", "step", [table("step", "small", 1), table("step", "large", 2)], KINDS)
    results.write(file, "NVIDIA some", "step", [table("step", "small", 3)], KINDS)
    results.write(file, "CPU: some", "linear-stats", [table("linear-stats", "small", 4)], KINDS)
    before = file.read_text()
    results.write(file, "CPU: some", "step", [table("step", "small", 5)], KINDS)
    after = file.read_text()
    assert [line for line in after.splitlines() if line.startswith("#")] == [
        "# Benchmarks",
        "# CPU: some",
        "## linear-stats: small",
        "## step: small",
        "# NVIDIA some",
        "## step: small",
    ]
    figures = [line for line in after.splitlines() if line.removeprefix("| ")[0:1].isdigit()]
    assert figures == ["| 4 |", "| 5 |", "| 3 |"]
    assert before.partition("# NVIDIA")[2] == after.partition("# NVIDIA")[2]


def test_writing_the_same_again_changes_nothing(tmp_path):
    file = tmp_path / "RESULTS.md"
    for _ in range(2):
        results.write(file, "CPU: some", "step", [table("step", "small", 1)], KINDS)
        text = file.read_text()
    results.write(file, "CPU: some", "step", [table("step", "small", 1)], KINDS)
    assert file.read_text() == text


def test_a_kind_that_is_no_longer_measured_is_kept(tmp_path):
    file = tmp_path / "RESULTS.md"
    results.write(file, "CPU: some", "old", [table("old", "small", 1)], ("old",))
    results.write(file, "CPU: some", "step", [table("step", "small", 2)], KINDS)
    assert "## old: small" in file.read_text()
