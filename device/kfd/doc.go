// Package kfd reads what the KFD driver, the computing side of amdgpu, tells of the
// GPUs of a machine, and makes devices of it. The rooms amd and hygon import it.
//
// It reads sys/class/kfd/kfd/topology and, for files in /dev/dri, sys/class/drm. One
// node of KFD is one device: a whole GPU, or a partition of one. The PCI bus need not
// be there: a copy of KFD's files alone gives the same devices, with the address that
// they tell. Processors, which are nodes too, are passed over.
package kfd
