"""A parcel to a branch is scanned for the first card in it: what becomes of its scans where that card stays behind."""

import msgspec

from cardtrail.sandbox.world.course import Course
from cardtrail.sandbox.world.world import World


def entrust(world: World, course: Course) -> None:
    """Have another card of its parcel go on with the parcel's scans. Where it is alone, nobody joins it any more."""
    letter = course.letter
    if course.scenario.parcel != "branch" or not letter.is_scanned:
        return
    others = (each for each in world.courses.values() if each is not course and each.letter.number == letter.number)
    heir = next((each for each in others if each.beats), None)
    if heir is None:
        world.planner.close(letter)
        return
    scans = [beat for beat in course.beats if beat.by == "carrier"]
    course.plan([beat for beat in course.beats if beat.by != "carrier"])
    course.letter = msgspec.structs.replace(letter, is_scanned=False)
    heir.plan([*heir.beats, *scans])
    heir.letter = letter
    world.replan(heir)
