// Package renewal decides when certificates are renewed, and which of them now. It is pure:
// who calls it brings certificates, policy and the time, carries out its orders, and tells it
// in the next question what became of them. It never reads a clock, never does I/O, and keeps
// nothing.
//
// # When
//
// A window is a permission: at no other time is a certificate renewed that can wait.
//
//   - A certificate is due when as much of its life is left as renewal.before says. It is renewed
//     in the first window that closes after that, at a place that follows from its name, so that
//     certificates of one age are spread evenly; in a window that is already open then, a little
//     earlier than due, by a tenth of the time until then.
//   - The last tenth of its life, a day at most, is a margin for things to go wrong in. If the
//     first window opens only then, or later, the last window before is taken, even if the
//     certificate is not due yet; but none in the first tenth of its life.
//   - A certificate that has missed its window is spread over the next one, at another place; if
//     its window is still open, it is renewed at once. Never at noon because it is late.
//   - If no window is left before the margin, it is an emergency: renewed outside of a window, in
//     the margin's length before the margin, where its name gives it its place. So is one that is
//     not valid yet, as a clock that was set back has it.
//   - Frozen dates close windows, as each window's own zone counts dates: a window over midnight
//     is cut there. Emergencies know no frozen dates.
//   - Windows that could leave a certificate without its chance, whenever it was issued, are
//     refused: none may lie further from the next than the certificate's life without its
//     first tenth and its margin.
//
// # Clocks
//
// The wall clock decides. A time is in a window if a wall clock in the window's zone then shows
// a time from start up to, not including, end, of a day that the window has. An end that is
// not after the start is one of the next day; the day is that on which the window opens. So
// where clocks are set forward, what a window has of the skipped hour is missing: 02:00 to
// 05:00 opens with the jump and lasts two hours, and one that lies wholly within it does not
// open on that day. Where they are set back, what it has of the repeated hour counts twice:
// 02:00 to 05:00 lasts four hours, and 02:15 to 02:45 opens twice.
//
// Plans follow from the certificates' own times, so a manager's clock that is set leaves nothing
// behind: the next plan is right by the clock as it is then.
//
// # How many, and in which order
//
//   - No more than maxConcurrent are renewed and not yet proven to be in use, nor more than
//     maxPerHour renewed in an hour. Those that expire first go first.
//   - Canaries have the first tenth of a window, and the others wait until all canaries that are
//     due are renewed, which those whose renewal fails are not, and proven. A canary goes ahead
//     of others even if it is not due, unless it is in the first tenth of its life, and so has
//     just done that.
//   - Renewals pause while a canary, or maxConcurrent certificates, are not proven for more
//     than 15 minutes; and while handshakes fail, or certificates are refused, more often
//     than is usual (Watch). renewal.paused and renewal.dryRun hold them back until taken back.
//   - An authority that is to go moves the certificates that it signed in the next window,
//     within the same limits; limits may need several windows for it.
//   - What somebody forces is renewed at once, by maxConcurrent alone; not in a dry run.
//   - Emergencies go by maxConcurrent too, but do not wait for what has been under way for 15
//     minutes, nor for a pause, for canaries, or for maxPerHour; and in the last half of the
//     margin they wait for nothing.
package renewal
