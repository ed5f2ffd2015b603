// Package amd finds AMD's GPUs: Instinct, and Radeon where amdgpu drives it. Package
// discovery lists it.
//
// It reads the KFD driver's files by way of package kfd, and those of amdgpu beside the
// PCI functions. A GPU in partitions (the modes DPX to CPX of the MI300 line) gives one
// device for each partition that KFD shows, which may be fewer than there are, and none
// for the whole. Graphics inside a processor count if KFD lists them or amdgpu drives
// them; their memory is a piece of the machine's, which the provenance tells. Functions
// of class 0300 that amdgpu does not drive are graphics of servers and of old, and are
// left alone.
//
// Of amdgpu's messages in the kernel's log it understands resets and errors that cannot be
// corrected.
//
// It asks rocm-smi for what files lack: serial numbers and the version of a driver that
// came with the kernel. It does not read amd-smi, whose JSON was not seen. It does not say
// how far GPUs are apart by PCI, nor weigh links: KFD's weights are hops with no unit.
package amd
