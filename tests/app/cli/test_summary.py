from hypothesis import given
from hypothesis import strategies as st

from app.cli.summary import stack_tasks
from app.report.summary import SummaryRow

ROWS = [SummaryRow("base", "base", None, (), {}, {}, {}, None, None)]
names = st.lists(st.text("abcdefgh", min_size=1, max_size=12), min_size=1, max_size=20)


@given(names, st.integers(20, 200))
def test_every_task_stands_in_one_table_in_order(tasks, width):
    tables = stack_tasks(tasks, ROWS, width)
    assert [task for table in tables for task in table] == tasks
    assert all(tables)


@given(names, st.integers(60, 200))
def test_no_table_is_wider_than_the_terminal_nor_one_more_than_it_takes(tasks, width):
    tables = stack_tasks(tasks, ROWS, width)
    widths = [sum(max(len(task), 5) + 3 for task in table) + len("base") + len("pointkept") + 11 for table in tables]
    assert max(widths) <= width
    following = [max(len(table[0]), 5) + 3 for table in tables[1:]]
    assert all(one + first > width for one, first in zip(widths, following, strict=False))
