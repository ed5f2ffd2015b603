package system

import (
	"log/slog"
	"math/rand/v2"
	"net/netip"

	"k8s.io/utils/clock"
	ctrl "sigs.k8s.io/controller-runtime"

	"polder.dev/polder/gateway"
	"polder.dev/polder/gateway/httproute"
	"polder.dev/polder/system/layout"
)

// newHosts makes what answers requests to hosts of HTTPRoutes, and has m keep it up to date.
func newHosts(log *slog.Logger, cloud layout.Cloud, m ctrl.Manager, services gateway.Services, routes gateway.Routes) (*httproute.Handler, error) {
	hosts, err := httproute.NewHandler(httproute.Config{Services: services, Routes: routes, Draw: rand.Float64})
	if err != nil {
		return nil, err
	}
	c, err := httproute.NewController(log, m.GetClient(), m.GetAPIReader(), hosts, netip.AddrPortFrom(cloud.NodeIP(), layout.PortGateway), clock.RealClock{})
	if err != nil {
		return nil, err
	}
	return hosts, c.Register(m)
}
