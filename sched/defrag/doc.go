// Package defrag plans which running work to move, so that idle devices that are of no
// use where they are become of use. A plan is moves in an order in which each can be
// made while all else stays: where work goes to is free before it leaves, or, on its own
// node, as soon as it has left.
//
// Everybody may import it. It is plain Go and moves nothing: who carries a plan out
// stops work at a checkpoint and starts it again elsewhere. It refuses to plan moves that
// are not worth their cost, and never touches work that cannot be moved.
package defrag
