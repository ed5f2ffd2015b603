package nvidia

import (
	"strings"

	"polder.dev/polder/device"
)

// card is one GPU in the log of nvidia-smi. Names are those of its elements. What NVML
// says is brought into the same form.
type card struct {
	ID           string `xml:"id,attr"`
	Product      string `xml:"product_name"`
	Architecture string `xml:"product_architecture"`
	MIG          string `xml:"mig_mode>current_mig"`
	Parts        []slot `xml:"mig_devices>mig_device"`
	Serial       string `xml:"serial"`
	UUID         string `xml:"uuid"`
	Minor        string `xml:"minor_number"`
	BIOS         string `xml:"vbios_version"`
	Recovery     string `xml:"gpu_recovery_action"`
	PCI          struct {
		Device   string `xml:"pci_device_id"` // "294110DE": device, vendor
		Sub      string `xml:"pci_sub_system_id"`
		Bus      string `xml:"pci_bus_id"`
		Gen      string `xml:"pci_gpu_link_info>pcie_gen>current_link_gen"`
		GenMax   string `xml:"pci_gpu_link_info>pcie_gen>max_link_gen"`
		Width    string `xml:"pci_gpu_link_info>link_widths>current_link_width"`
		WidthMax string `xml:"pci_gpu_link_info>link_widths>max_link_width"`
		Replays  string `xml:"replay_counter"`
	} `xml:"pci"`
	Reasons reasons `xml:"clocks_event_reasons"`
	// Throttle is what drivers up to 525 call Reasons.
	Throttle reasons `xml:"clocks_throttle_reasons"`
	FB       memory  `xml:"fb_memory_usage"`
	BAR1     memory  `xml:"bar1_memory_usage"`
	Busy     string  `xml:"utilization>gpu_util"`
	ECC      struct {
		Volatile  errorCounts `xml:"volatile"`  // since the driver was loaded
		Aggregate errorCounts `xml:"aggregate"` // in the card's life
		Channel   string      `xml:"channel_repair_pending"`
		TPC       string      `xml:"tpc_repair_pending"`
		Hopeless  string      `xml:"unrepairable_memory"`
	} `xml:"ecc_errors"`
	Pages struct {
		Single  string `xml:"multiple_single_bit_retirement>retired_count"`
		Double  string `xml:"double_bit_retirement>retired_count"`
		Pending string `xml:"pending_retirement"`
	} `xml:"retired_pages"`
	Rows struct {
		Corrected   string `xml:"remapped_row_corr"`
		Uncorrected string `xml:"remapped_row_unc"`
		Pending     string `xml:"remapped_row_pending"`
		Failure     string `xml:"remapped_row_failure"`
		Text        string `xml:",chardata"`
	} `xml:"remapped_rows"`
	Temperature string `xml:"temperature>gpu_temp"`
	Power       power  `xml:"gpu_power_readings"`
	// PowerOld is what drivers up to 525 call Power.
	PowerOld power  `xml:"power_readings"`
	Fabric   fabric `xml:"fabric"`

	// What only NVML tells of a card: the energy it has used, the errors in place of
	// values, and whether it has instances that cannot be listed.
	Energy       string   `xml:"-"`
	Errs         []string `xml:"-"`
	PartsUnknown bool     `xml:"-"`
}

// slot is a MIG instance.
type slot struct {
	Index  string `xml:"index"`
	GI     string `xml:"gpu_instance_id"`
	CI     string `xml:"compute_instance_id"`
	Units  string `xml:"device_attributes>shared>multiprocessor_count"`
	Errors string `xml:"ecc_error_count>volatile_count>sram_uncorrectable"`
	FB     memory `xml:"fb_memory_usage"`
}

type memory struct {
	Total string `xml:"total"`
	Used  string `xml:"used"`
}

// errorCounts of ECC. Before Volta they came by bits, on Ampere and later those of
// SRAM come in two kinds.
type errorCounts struct {
	SRAMCorrected   string `xml:"sram_correctable"`
	SRAMUncorrected string `xml:"sram_uncorrectable"`
	SRAMParity      string `xml:"sram_uncorrectable_parity"`
	SRAMSecDed      string `xml:"sram_uncorrectable_secded"`
	DRAMCorrected   string `xml:"dram_correctable"`
	DRAMUncorrected string `xml:"dram_uncorrectable"`
	SingleBit       string `xml:"single_bit>total"`
	DoubleBit       string `xml:"double_bit>total"`
	Threshold       string `xml:"sram_threshold_exceeded"`
}

// reasons why the clocks are lower than they could be.
type reasons struct {
	HWThermal    string `xml:"clocks_event_reason_hw_thermal_slowdown"`
	SWThermal    string `xml:"clocks_event_reason_sw_thermal_slowdown"`
	Brake        string `xml:"clocks_event_reason_hw_power_brake_slowdown"`
	HWThermalOld string `xml:"clocks_throttle_reason_hw_thermal_slowdown"`
	SWThermalOld string `xml:"clocks_throttle_reason_sw_thermal_slowdown"`
	BrakeOld     string `xml:"clocks_throttle_reason_hw_power_brake_slowdown"`
}

type power struct {
	Instant  string `xml:"instant_power_draw"`
	Draw     string `xml:"power_draw"`
	Average  string `xml:"average_power_draw"`
	Current  string `xml:"current_power_limit"`
	Enforced string `xml:"enforced_power_limit"`
	Limit    string `xml:"power_limit"`
}

type fabric struct {
	State    string `xml:"state"`
	Status   string `xml:"status"`
	Clique   string `xml:"cliqueId"`
	Cluster  string `xml:"clusterUuid"`
	Summary  string `xml:"health>summary"`
	Width    string `xml:"health>bandwidth"`
	Recovery string `xml:"health>route_recovery_in_progress"`
	Route    string `xml:"health>route_unhealthy"`
	Timeout  string `xml:"health>access_timeout_recovery"`
	Config   string `xml:"health>incorrect_configuration"`
}

// address is where the card is plugged in, "" if it does not say.
func (c *card) address() string {
	for _, s := range []string{c.ID, c.PCI.Bus} {
		if a, ok := device.Address(s); ok {
			return a
		}
	}
	return ""
}

// split reports whether the card is in MIG mode.
func (c *card) split() bool { return strings.TrimSpace(c.MIG) == "Enabled" }
