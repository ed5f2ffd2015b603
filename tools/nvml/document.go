package main

// Format and Version name what is printed. The version rises when a reader of the
// last one would misunderstand; docs/formats/nvml.md says what each field means.
const (
	Format  = "polder-nvml"
	Version = 1
)

// Document is all that is printed. A value that could not be asked for is absent, and
// Errors, of the object that it belongs to, says why by the value's name.
type Document struct {
	Format  string            `json:"format"`
	Version int               `json:"version"`
	Library string            `json:"library,omitempty"`
	Driver  string            `json:"driver,omitempty"`
	CUDA    string            `json:"cuda,omitempty"`
	GPUs    []GPU             `json:"gpus"`
	Pairs   []Pair            `json:"pairs,omitempty"`
	Errors  map[string]string `json:"errors,omitempty"`
}

// GPU is one card. Amounts are in bytes, percent, degrees Celsius, watts and joules.
type GPU struct {
	Index        int               `json:"index"`
	Address      string            `json:"address,omitempty"`
	PCIID        string            `json:"pciId,omitempty"`    // device, then vendor: "233010DE"
	PCISubID     string            `json:"pciSubId,omitempty"` // likewise
	PCIe         *PCIe             `json:"pcie,omitempty"`
	UUID         string            `json:"uuid,omitempty"`
	Name         string            `json:"name,omitempty"`
	Architecture string            `json:"architecture,omitempty"`
	Serial       string            `json:"serial,omitempty"`
	Minor        *int              `json:"minor,omitempty"`
	VBIOS        string            `json:"vbios,omitempty"`
	Memory       *Memory           `json:"memory,omitempty"`
	BAR1         *Memory           `json:"bar1,omitempty"`
	Utilization  *uint32           `json:"utilization,omitempty"`
	Temperature  *int32            `json:"temperature,omitempty"`
	Power        *float64          `json:"power,omitempty"`
	PowerLimit   *float64          `json:"powerLimit,omitempty"`
	Energy       *float64          `json:"energy,omitempty"`
	Slowdowns    *[]string         `json:"slowdowns,omitempty"`
	ECC          *ECC              `json:"ecc,omitempty"`
	Pages        *Pages            `json:"pages,omitempty"`
	Rows         *Rows             `json:"rows,omitempty"`
	Recovery     string            `json:"recovery,omitempty"`
	MIG          *bool             `json:"mig,omitempty"`
	Parts        []Part            `json:"parts,omitempty"`
	Fabric       *Fabric           `json:"fabric,omitempty"`
	NVLinks      []NVLink          `json:"nvlinks,omitempty"` // those that are up
	NVLinkSpeed  *uint64           `json:"nvlinkSpeed,omitempty"`
	Errors       map[string]string `json:"errors,omitempty"`
}

// PCIe is the card's connection to the machine.
type PCIe struct {
	Generation    int  `json:"generation,omitempty"`
	GenerationMax int  `json:"generationMax,omitempty"`
	Lanes         int  `json:"lanes,omitempty"`
	LanesMax      int  `json:"lanesMax,omitempty"`
	Replays       *int `json:"replays,omitempty"`
}

// Memory is how much there is and how much of it is taken.
type Memory struct {
	Total uint64 `json:"total"`
	Used  uint64 `json:"used"`
}

// ECC are the errors of memory since the driver was loaded (volatile) and in the card's
// life (aggregate), and what the card says of them.
type ECC struct {
	VolatileCorrected    *uint64 `json:"volatileCorrected,omitempty"`
	VolatileUncorrected  *uint64 `json:"volatileUncorrected,omitempty"`
	AggregateCorrected   *uint64 `json:"aggregateCorrected,omitempty"`
	AggregateUncorrected *uint64 `json:"aggregateUncorrected,omitempty"`
	SRAMThreshold        *bool   `json:"sramThreshold,omitempty"`
	ChannelRepair        *bool   `json:"channelRepair,omitempty"`
	TPCRepair            *bool   `json:"tpcRepair,omitempty"`
	Unrepairable         *bool   `json:"unrepairable,omitempty"`
}

// Pages are those that were retired.
type Pages struct {
	Corrected   *int  `json:"corrected,omitempty"`
	Uncorrected *int  `json:"uncorrected,omitempty"`
	Pending     *bool `json:"pending,omitempty"`
}

// Rows are those that were remapped.
type Rows struct {
	Corrected   int  `json:"corrected"`
	Uncorrected int  `json:"uncorrected"`
	Pending     bool `json:"pending"`
	Failure     bool `json:"failure"`
}

// Part is a MIG instance.
type Part struct {
	Index           int               `json:"index"`
	GPUInstance     *int              `json:"gpuInstance,omitempty"`
	ComputeInstance *int              `json:"computeInstance,omitempty"`
	UUID            string            `json:"uuid,omitempty"`
	Profile         string            `json:"profile,omitempty"`
	Multiprocessors int               `json:"multiprocessors,omitempty"`
	GPUSlices       int               `json:"gpuSlices,omitempty"`
	ComputeSlices   int               `json:"computeSlices,omitempty"`
	MemorySize      uint64            `json:"memorySize,omitempty"` // of the profile
	Memory          *Memory           `json:"memory,omitempty"`
	Uncorrected     *uint64           `json:"uncorrected,omitempty"` // errors of its SRAM
	Errors          map[string]string `json:"errors,omitempty"`
}

// Fabric is the card's part in an NVLink fabric.
type Fabric struct {
	State   string `json:"state"`
	Status  string `json:"status,omitempty"`
	Clique  uint32 `json:"clique"`
	Cluster string `json:"cluster"`
	// Health is what of it is not as it should be.
	Health  []string `json:"health,omitempty"`
	Summary string   `json:"summary,omitempty"`
}

// NVLink are those that are up and have the same at their other end: a gpu, a switch, an
// npu or something unknown.
type NVLink struct {
	Count   int    `json:"count"`
	Version string `json:"version,omitempty"`
	Remote  string `json:"remote,omitempty"` // PCI address
	Type    string `json:"type,omitempty"`
}

// Pair is how two cards, by their index, reach each other.
type Pair struct {
	A int `json:"a"`
	B int `json:"b"`
	// Path over PCI in the words of nvidia-smi topo: PIX, PXB, PHB, NODE, SYS.
	Path string `json:"path,omitempty"`
	// NVLink is whether the driver lets them use it between them.
	NVLink *bool `json:"nvlink,omitempty"`
}
