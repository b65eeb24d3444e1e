"""Where progress is shown."""

from rowmill.watching import NotebookBar, watched


def test_nothing_is_shown_unless_it_is_asked_for(make_job, capsys):
    with watched(False) as seen:
        seen(make_job())

    assert capsys.readouterr() == ("", "")


def test_a_bar_in_a_notebook_is_drawn_once_and_then_moved(make_job, monkeypatch):
    shown = []

    class Shown:
        def update(self, content: object, *, raw: bool) -> None:  # noqa: ARG002 (as IPython has it)
            shown.append(content)

    def display(content, *, raw, display_id):
        shown.append(content)
        return Shown()

    monkeypatch.setattr("IPython.display.display", display)
    bar = NotebookBar()

    bar.seen(make_job(succeeded=4))
    bar.seen(make_job("succeeded", succeeded=10))

    assert [content["text/plain"] for content in shown] == [
        "running  4/10 rows",
        "succeeded  10/10 rows",
    ]
    assert 'value="1.0000"' in shown[-1]["text/html"]
