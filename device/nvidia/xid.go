package nvidia

import "polder.dev/polder/device"

// recoveryXid tells what the driver asks for.
const recoveryXid = 154

// xids are the errors that are a card's. What they mean and what is to be done is from
// NVIDIA's "Analyzing Xid Errors with the Xid Catalog"; which of two states is ours.
// Failed ends the pods that have the card, so it is for those after which nothing on it
// can go on or be trusted; Degraded only keeps new ones away.
//
// What is neither here nor among the harmless is Degraded too. The catalogue grows with
// each driver, and the choice is between two mistakes: a card that idles until somebody
// has looked, or one that takes job after job and fails them. Drivers that know a
// recovery action end the first by themselves: asked ten seconds later, they say whether
// anything needs to be done, see device.Health.
var xids = map[int]device.Fault{
	46:  fails("it has stopped processing; reset it"),
	48:  weakens("its memory had an error that could not be corrected; reset it when it is idle, and have it tested if that comes again"),
	54:  weakens("its auxiliary power is not connected; see to the cables"),
	62:  fails("its internal microcontroller has halted; reset it"),
	63:  weakens("a bad row or page of its memory is replaced at the next reset; reset it when it is idle"),
	64:  fails("a bad row or page of its memory could not be replaced; reset it, and have it exchanged if that comes again"),
	74:  weakens("an NVLink had an error; reset it when it is idle, and see to the link if that comes again"),
	79:  fails("it has fallen off the bus; restart the machine, and if that does not help have the card seen to"),
	92:  weakens("its memory corrects errors at a high rate; have it tested"),
	94:  weakens("its memory had an error that could not be corrected, and only the job that met it failed; reset it when it is idle"),
	95:  fails("its memory had an error that could not be corrected nor contained, so no result can be trusted; reset it"),
	110: fails("a security fault has stopped it; reset it"),
	119: fails("its system processor (GSP) does not answer; reset it"),
	120: fails("its system processor (GSP) met an error; reset it"),
	136: weakens("training of an NVLink failed; reset it when it is idle"),
	140: fails("its memory had an error that could not be recovered from; reset it"),
	143: fails("it could not be initialized; reset it, and have it seen to if that comes again"),
	144: weakens(linkSays), 145: weakens(linkSays), 146: weakens(linkSays), 147: weakens(linkSays),
	148: weakens(linkSays), 149: weakens(linkSays), 150: weakens(linkSays),
	155: weakens("an NVLink had an error; reset it when it is idle"),
	156: weakens("a bad part of it is left out from the next reset on; reset it when it is idle"),
	157: weakens("a bad part of it could not be left out; have it tested"),
	158: fails("it has not answered in time, fatally; reset it"),
	161: weakens("a bad channel of it could not be left out; have it tested"),
	167: fails("it has not answered over PCIe in time, fatally; reset it"),
	168: weakens("a part of its memory is bad, and it has less from the next reset on; have it tested"),
	169: fails("its internal microcontroller has halted; reset it"),
	171: weakens("its memory had an error that could not be corrected; reset it when it is idle"),
	172: weakens("its caches had an error that could not be corrected; reset it when it is idle"),
}

const linkSays = "an NVLink had a fatal error; reset it when it is idle, and see to the link if that comes again"

// harmless are the errors of which the catalogue says that the application is to be
// restarted, or that nothing is to be done, and those that NVIDIA's device plugin for
// Kubernetes passes over: 13, 31, 43, 45, 68, 109. A job that is wrong causes most of
// them. If one has harmed the card after all, the driver asks for a reset by 154.
var harmless = set(8, 11, 13, 14, 25, 31, 32, 37, 38, 39, 40, 41, 43, 44, 45, 60, 66, 67, 68, 69, 70, 71, 72, 75, 76, 77,
	80, 82, 83, 84, 85, 86, 88, 89, 93, 96, 97, 98, 99, 100, 101, 102, 103, 104, 105, 106, 107, 108, 109, 121,
	126, 127, 128, 129, 130, 131, 132, 133, 134, 135, 137, 139, 141, 152, 153, 160, 162, 163, 164, 165)

func fails(says string) device.Fault {
	return device.Fault{State: device.Failed, Message: says}
}

func weakens(says string) device.Fault {
	return device.Fault{State: device.Degraded, Message: says}
}

func set(numbers ...int) map[int]bool {
	out := map[int]bool{}
	for _, n := range numbers {
		out[n] = true
	}
	return out
}
