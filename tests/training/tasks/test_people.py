from facerecon.training.tasks.people import shared_person, subject_ranges, training_data


def test_ranges_are_as_long_as_can_be():
    people = [(0, 7), (0, 3), (0, 4), (2, 5), (0, 5), (0, 3)]
    assert subject_ranges(people) == {"0": [[3, 5], [7, 7]], "2": [[5, 5]]}
    assert subject_ranges([]) == {}


def test_shared_people_by_hand():
    one = {"0": [[0, 99], [200, 299]], "7": [[0, 5]]}
    assert shared_person(one, {"0": [[100, 199], [300, 400]], "1": [[0, 5]]}) is None
    assert shared_person(one, {"0": [[250, 260], [90, 120]]}) == (0, 90)
    assert shared_person(one, {"7": [[5, 5]]}) == (7, 5)
    assert shared_person(one, {}) is None


def test_what_the_first_weights_saw_counts_too():
    assert training_data({"data": {"a": 1}, "earlier_data": [{"b": 2}]}) == [{"a": 1}, {"b": 2}]
    assert training_data({"earlier_data": None}) == []
