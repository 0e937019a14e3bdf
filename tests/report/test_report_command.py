import pytest
from report import folders as made
from report.reading import headline

from rheobase.cli.reporting import report


def test_the_page_of_one_folder_is_written_into_it(tmp_path, capsys):
    folder = made.run(tmp_path / "run", result=made.DONE)
    assert report((folder,)) == 0
    assert headline((folder / "report.html").read_text()).startswith("sltt reaches 87.50 %")
    assert capsys.readouterr().out == f"Report: {folder / 'report.html'}\n"


def test_the_page_of_several_is_written_where_one_works(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    folders = tuple(made.run(tmp_path / name) for name in "ab")
    report(folders)
    assert headline((tmp_path / "report.html").read_text()) == "2 reports"
    assert capsys.readouterr().out == "Report: report.html\n"


def test_a_name_can_be_given(tmp_path):
    folder = made.run(tmp_path / "run")
    report((folder,), out=tmp_path / "pages" / "mine.html")
    assert (tmp_path / "pages" / "mine.html").is_file()
    assert not (folder / "report.html").exists()


def test_nothing_is_written_where_there_is_nothing_to_tell(tmp_path):
    with pytest.raises(ValueError, match="Nothing to report on"):
        report((tmp_path,))
    assert not list(tmp_path.iterdir())
