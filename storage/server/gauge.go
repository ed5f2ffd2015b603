package server

import (
	"github.com/prometheus/client_golang/prometheus"

	"polder.dev/polder/storage/budget"
	"polder.dev/polder/storage/disk"
	"polder.dev/polder/storage/lifecycle"
)

// gauges tell of the disks, of memory, and of what lifecycle rules did, when they are asked.
type gauges struct {
	pool  *disk.Store
	lives *lifecycle.Runner

	memory   *budget.Budget
	bytesMax int64
}

var (
	diskBytes = prometheus.NewDesc("polder_storage_disk_bytes", "Bytes of a disk, by whether they are free.", []string{"disk", "state"}, nil)
	diskUp    = prometheus.NewDesc("polder_storage_disk_up", "1 if a disk works.", []string{"disk"}, nil)
	lived     = prometheus.NewDesc("polder_storage_lifecycle_total", "Versions and uploads that lifecycle rules have dealt with, by what became of them.", []string{"what"}, nil)
	parted    = prometheus.NewDesc("polder_storage_memory_bytes", "Memory that is taken of what there is for clients, by what it is for.", []string{"part"}, nil)
	clients   = prometheus.NewDesc("polder_storage_memory_clients_bytes", "Memory that there is for clients: their requests, bodies, answers and the hot tier.", nil, nil)
	limit     = prometheus.NewDesc("polder_storage_memory_limit_bytes", "Memory that the process may have, apart from pages of files.", nil, nil)
	settled   = prometheus.NewDesc("polder_storage_settled", "1 if every object lies on the disks that it belongs on.", nil, nil)
)

// Describe implements prometheus.Collector.
func (g gauges) Describe(c chan<- *prometheus.Desc) {
	c <- diskBytes
	c <- diskUp
	c <- settled
	c <- lived
	c <- parted
	c <- clients
	c <- limit
}

// Collect implements prometheus.Collector.
func (g gauges) Collect(c chan<- prometheus.Metric) {
	bit := func(b bool) float64 {
		if b {
			return 1
		}
		return 0
	}
	for _, d := range g.pool.Disks() {
		c <- prometheus.MustNewConstMetric(diskUp, prometheus.GaugeValue, bit(d.Err == nil), d.ID)
		c <- prometheus.MustNewConstMetric(diskBytes, prometheus.GaugeValue, float64(d.Free), d.ID, "free")
		c <- prometheus.MustNewConstMetric(diskBytes, prometheus.GaugeValue, float64(d.Total-d.Free), d.ID, "used")
	}
	c <- prometheus.MustNewConstMetric(settled, prometheus.GaugeValue, bit(g.pool.Settled()))
	for _, p := range budget.Parts() {
		c <- prometheus.MustNewConstMetric(parted, prometheus.GaugeValue, float64(g.memory.Used(p)), p.String())
	}
	c <- prometheus.MustNewConstMetric(clients, prometheus.GaugeValue, float64(g.memory.BytesMax()))
	c <- prometheus.MustNewConstMetric(limit, prometheus.GaugeValue, float64(g.bytesMax))
	did := g.lives.Counts()
	for what, n := range map[string]int64{
		"seen": did.Seen, "expired": did.Expired, "removed": did.Removed, "moved": did.Moved, "aborted": did.Aborted, "locked": did.Locked, "failed": did.Failed,
	} {
		c <- prometheus.MustNewConstMetric(lived, prometheus.CounterValue, float64(n), what)
	}
}
