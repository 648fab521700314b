"""How often a question may be learned from."""

from __future__ import annotations

import pytest

from contraflow.actors.uses import Uses
from contraflow.facts import Fact
from support.actors import question

Q, OTHER = question(ids=(1,)), question(ids=(2,))


def test_a_question_may_be_used_up_to_the_limit():
    uses = Uses(3)
    uses.fresh([Q])
    uses.again([Q])
    assert uses.left(Q)
    uses.again([Q])
    assert (uses.of(Q), uses.left(Q)) == (3, False)
    with pytest.raises(ValueError, match="used 4 times, the limit is 3"):
        uses.again([Q])


def test_a_step_counts_an_equal_question_once():
    uses = Uses(2)
    uses.again([Q, Q])
    assert uses.of(Q) == 1


def test_a_question_that_is_sampled_again_may_be_used_again():
    uses = Uses(1)
    uses.fresh([Q])
    assert not uses.left(Q)
    uses.fresh([Q])
    assert uses.of(Q) == 1


def test_facts_do_not_share_the_uses_of_equal_questions():
    uses = Uses(1)
    of_other_fact = question(Fact(fact_id="g", subject="s", edit_fact="s is e"), (1,))
    uses.know([Q, of_other_fact])
    uses.fresh([Q])
    assert uses.left(of_other_fact) and not uses.left(Q)


def test_a_stored_question_that_nobody_has_reported_has_no_use_yet():
    """An actor stores its questions before it reports them: their turn as new ones is to come."""
    uses = Uses(2)
    assert not uses.left(Q)
    uses.know([Q])
    assert uses.left(Q)
    uses.again([Q])
    uses.know([Q])  # once more, which forgets no use
    assert uses.of(Q) == 1


def test_uses_outlive_a_checkpoint_and_only_what_is_stored_is_kept():
    uses = Uses(5)
    uses.fresh([Q, OTHER])
    uses.again([Q])
    resumed = Uses(5)
    resumed.load(uses.state())
    resumed.keep([Q])
    assert (resumed.of(Q), resumed.of(OTHER), len(resumed)) == (2, 0, 1)
