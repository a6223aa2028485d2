package hold

import (
	"slices"
	"time"

	"k8s.io/utils/clock"

	"fairlead.dev/fairlead/internal/delivery"
	"fairlead.dev/fairlead/internal/mesh"
)

// patience is how long proxies have to judge what is tried. After that it stays in use, and the
// next is tried: one proxy that hangs must not keep everybody's changes back.
const patience = 5 * time.Second

// dispute is the search for who is at fault.
type dispute struct {
	// trial are the objects that are in use again to be judged, queue those that follow.
	trial []mesh.ObjectID
	queue [][]mesh.ObjectID
	timer clock.Timer
	// step tells timers of what is over from the one that counts.
	step int
}

// judge looks into the refusals of a report: it holds who is at fault, or takes back all that may
// be. It reports whether that is under way, so that the refusals say nothing yet.
func (h *Holder) judge(report delivery.Report) bool {
	underWay := false
	for _, rejection := range report.Rejections {
		suspects, moving := h.suspects(rejection)
		switch {
		case moving:
			// The proxy will be sent something else, and answer that.
		case len(suspects) == 0:
			continue
		case len(suspects) == 1:
			h.hold(suspects[0], rejection)
		default:
			h.question(suspects, rejection)
		}
		underWay = true
	}
	return underWay
}

// suspects returns the objects that may be at fault, or that one of them is not published as it
// is in the store, so that nothing follows from the refusal.
func (h *Holder) suspects(rejection delivery.Rejection) (suspects []*object, moving bool) {
	for _, version := range rejection.Suspects {
		o := h.objects[version.Object]
		switch {
		case o == nil:
		case o.moving, o.inUse != version.Generation:
			return nil, true
		case o.latest != nil && o.latest.Generation == version.Generation && !o.isProven():
			suspects = append(suspects, o)
		}
	}
	return suspects, false
}

// hold takes the latest spec of an object out of use until there is a newer one.
func (h *Holder) hold(o *object, rejection delivery.Rejection) {
	rejection.Suspects = nil
	o.refused, o.questioned = &rejection, false
	h.apply(o)
	h.options.Log.Warn("Holding an object at an earlier generation, since a proxy refused it", "object", o.id.String(),
		"generation", o.latest.Generation, "serving", o.inUse,
		"node", rejection.Node, "resource", rejection.Resource, "message", rejection.Message)
	h.tellHeld(o)
}

// question takes several objects back, to bring them again by halves.
func (h *Holder) question(suspects []*object, rejection delivery.Rejection) {
	ids := make([]mesh.ObjectID, len(suspects))
	for i, o := range suspects {
		ids[i] = o.id
		o.questioned = true
		h.apply(o)
	}
	h.options.Log.Info("Took back what may be at fault for a refusal, to try it in parts", "objects", len(ids),
		"node", rejection.Node, "resource", rejection.Resource, "message", rejection.Message)
	half := len(ids) / 2
	h.dispute.queue = slices.Insert(h.dispute.queue, 0, ids[:half], ids[half:])
	h.arm()
}

// settle tries the next objects, if those before are judged and everything taken back is
// published.
func (h *Holder) settle() {
	d := &h.dispute
	for !h.moving() {
		d.trial = slices.DeleteFunc(d.trial, func(id mesh.ObjectID) bool {
			o := h.objects[id]
			return o == nil || o.tried || o.questioned || o.refused != nil
		})
		if len(d.trial) > 0 {
			return
		}
		if len(d.queue) == 0 {
			h.disarm()
			return
		}
		next := d.queue[0]
		d.queue = d.queue[1:]
		for _, id := range next {
			if o := h.objects[id]; o != nil && o.questioned {
				o.questioned, o.tried = false, false
				h.apply(o)
				d.trial = append(d.trial, id)
			}
		}
		h.arm()
	}
}

// moving reports whether any object of the dispute is not published as it is in the store.
func (h *Holder) moving() bool {
	return slices.ContainsFunc(append(slices.Clone(h.dispute.queue), h.dispute.trial), func(group []mesh.ObjectID) bool {
		return slices.ContainsFunc(group, func(id mesh.ObjectID) bool { return h.objects[id] != nil && h.objects[id].moving })
	})
}

// arm gives the proxies their time from now on.
func (h *Holder) arm() {
	h.disarm()
	step := h.dispute.step
	h.dispute.timer = h.options.Clock.AfterFunc(patience, func() { h.expire(step) })
}

func (h *Holder) disarm() {
	h.dispute.step++
	if h.dispute.timer != nil {
		h.dispute.timer.Stop()
		h.dispute.timer = nil
	}
}

// expire goes on without a judgement.
func (h *Holder) expire(step int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if step != h.dispute.step {
		return
	}
	h.options.Log.Warn("Not every proxy judged in time what was taken back and brought again", "objects", len(h.dispute.trial))
	for _, group := range append(h.dispute.queue, h.dispute.trial) {
		for _, id := range group {
			if o := h.objects[id]; o != nil {
				o.moving = false
			}
		}
	}
	h.dispute.trial = nil
	h.settle()
}
