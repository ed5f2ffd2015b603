package server

import (
	"github.com/prometheus/client_golang/prometheus"

	"polder.dev/polder/storage/disk"
)

// diskGauges tell of the disks when they are asked.
type diskGauges struct{ pool *disk.Store }

var (
	diskBytes = prometheus.NewDesc("polder_storage_disk_bytes", "Bytes of a disk, by whether they are free.", []string{"disk", "state"}, nil)
	diskUp    = prometheus.NewDesc("polder_storage_disk_up", "1 if a disk works.", []string{"disk"}, nil)
	settled   = prometheus.NewDesc("polder_storage_settled", "1 if every object lies on the disks that it belongs on.", nil, nil)
)

// Describe implements prometheus.Collector.
func (g diskGauges) Describe(c chan<- *prometheus.Desc) {
	c <- diskBytes
	c <- diskUp
	c <- settled
}

// Collect implements prometheus.Collector.
func (g diskGauges) Collect(c chan<- prometheus.Metric) {
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
}
