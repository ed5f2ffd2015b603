// Package kernlog reads the kernel's log, in which drivers tell of faults in the moment
// they happen. Package discovery imports it.
//
// It reads /dev/kmsg, by the format of Linux' Documentation/ABI/testing/dev-kmsg: first
// what the kernel still holds, then what comes. It keeps no state: who starts again
// reads the same again. Only whole messages of the kernel itself are passed on. What
// programs write there bears another facility, which the kernel sees to, and is left
// out, so that nobody can make up a fault; so are fragments of messages, which may
// begin with anything.
package kernlog
