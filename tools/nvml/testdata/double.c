// A test double of NVIDIA's libnvidia-ml.so.1, ours and made up: three cards that are
// not there. Tests compile it and have polder-nvml load it as it would load the real
// one. It proves that the program asks as the header of go-nvml says, and is no
// evidence of how a real library or card behaves.
//
// NVML_DOUBLE in the environment says what is wrong with it. Compiled with OLD it has
// the functions of a driver of ten years ago.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#define NVML_NO_UNVERSIONED_FUNC_DEFS
#include "nvml.h"

#define CARDS 3
#define PARTS 2

// A handle is the address of one of these. go-nvml's header has a structure of one
// pointer for NVIDIA's pointer to a structure, which is passed in the same way.
static struct nvmlDevice_st {
	int at; // its number
	int part;
} cards[CARDS] = {{0}, {1}, {2}}, parts[PARTS] = {{0, 1}, {1, 1}};

static int mode(const char *what) {
	const char *m = getenv("NVML_DOUBLE");
	return m && !strcmp(m, what);
}

static int at(nvmlDevice_t d) { return d.handle->at; }
static int is_part(nvmlDevice_t d) { return d.handle->part; }
static int in_mig(nvmlDevice_t d) { return !is_part(d) && at(d) == 2; }

static nvmlReturn_t put(char *to, unsigned int length, const char *text) {
	if (strlen(text) >= length)
		return NVML_ERROR_INSUFFICIENT_SIZE;
	strcpy(to, text);
	return NVML_SUCCESS;
}

static nvmlReturn_t start(void) {
	if (mode("mismatch"))
		return NVML_ERROR_LIB_RM_VERSION_MISMATCH;
	if (mode("hang"))
		for (;;)
			pause();
	if (mode("crash"))
		abort();
	return NVML_SUCCESS;
}

#ifdef OLD
nvmlReturn_t nvmlInit(void) { return start(); }
nvmlReturn_t nvmlDeviceGetCount(unsigned int *n) { *n = 1; return NVML_SUCCESS; }
nvmlReturn_t nvmlDeviceGetHandleByIndex(unsigned int i, nvmlDevice_t *d) { d->handle = &cards[i]; return NVML_SUCCESS; }
#else
nvmlReturn_t nvmlInit_v2(void) { return start(); }
nvmlReturn_t nvmlDeviceGetCount_v2(unsigned int *n) { *n = mode("none") ? 0 : mode("many") ? 4000000000u : CARDS; return NVML_SUCCESS; }
nvmlReturn_t nvmlDeviceGetHandleByIndex_v2(unsigned int i, nvmlDevice_t *d) {
	if (mode("lost") && i == 1)
		return NVML_ERROR_GPU_IS_LOST;
	if (mode("hang-later") && i == 1)
		for (;;)
			pause();
	d->handle = &cards[i % CARDS];
	return NVML_SUCCESS;
}
#endif

const char *nvmlErrorString(nvmlReturn_t r) { return r == NVML_ERROR_IRQ_ISSUE ? "an interrupt\nof the double" : "an error of the double"; }
nvmlReturn_t nvmlShutdown(void) { return NVML_SUCCESS; }
nvmlReturn_t nvmlSystemGetDriverVersion(char *to, unsigned int n) { return put(to, n, "580.95.05"); }

nvmlReturn_t nvmlDeviceGetName(nvmlDevice_t d, char *to, unsigned int n) {
	static const char *card[] = {"NVIDIA H100 80GB HBM3", "NVIDIA H100 80GB HBM3", "NVIDIA A100-SXM4-80GB"};
	static const char *part[] = {"NVIDIA A100-SXM4-80GB MIG 3g.40gb", "NVIDIA A100-SXM4-80GB MIG 1g.10gb"};
	return put(to, n, is_part(d) ? part[at(d)] : card[at(d)]);
}

nvmlReturn_t nvmlDeviceGetUUID(nvmlDevice_t d, char *to, unsigned int n) {
	char s[64];
	snprintf(s, sizeof s, is_part(d) ? "MIG-bbbbbbbb-0000-0000-0000-00000000000%d" : "GPU-aaaaaaaa-0000-0000-0000-00000000000%d", is_part(d) ? at(d) : at(d) + 1);
	return put(to, n, s);
}

static nvmlReturn_t place(nvmlDevice_t d, nvmlPciInfo_t *p) {
	static const unsigned int bus[] = {0x3b, 0x5e, 0xaf}, id[] = {0x233010de, 0x233010de, 0x20b210de};
	memset(p, 0, sizeof *p);
	p->bus = bus[at(d)];
	p->pciDeviceId = id[at(d)];
	p->pciSubSystemId = 0x16c110de;
	snprintf(p->busId, sizeof p->busId, "%08X:%02X:%02X.0", p->domain, p->bus, p->device);
	return NVML_SUCCESS;
}

nvmlReturn_t nvmlDeviceGetTemperature(nvmlDevice_t d, nvmlTemperatureSensors_t s, unsigned int *t) { *t = 41; return NVML_SUCCESS; }
nvmlReturn_t nvmlDeviceGetPowerUsage(nvmlDevice_t d, unsigned int *n) { *n = 99500; return NVML_SUCCESS; }
nvmlReturn_t nvmlDeviceGetEnforcedPowerLimit(nvmlDevice_t d, unsigned int *n) { *n = 700000; return NVML_SUCCESS; }

nvmlReturn_t nvmlDeviceGetMemoryInfo(nvmlDevice_t d, nvmlMemory_t *m) {
	static const unsigned long long card[] = {81559, 81559, 81920}, part[] = {40192, 9984};
	m->total = (is_part(d) ? part[at(d)] : card[at(d)]) << 20;
	m->used = (is_part(d) ? 12ull : 504ull) << 20; // with what the driver keeps
	m->free = m->total - m->used;
	return NVML_SUCCESS;
}

#ifdef OLD
nvmlReturn_t nvmlDeviceGetPciInfo(nvmlDevice_t d, nvmlPciInfo_t *p) { return place(d, p); }
nvmlReturn_t nvmlDeviceGetCurrentClocksThrottleReasons(nvmlDevice_t d, unsigned long long *r) { *r = 0xe0; return NVML_SUCCESS; }
#else
nvmlReturn_t nvmlDeviceGetPciInfo_v3(nvmlDevice_t d, nvmlPciInfo_t *p) { return place(d, p); }

nvmlReturn_t nvmlDeviceGetMemoryInfo_v2(nvmlDevice_t d, nvmlMemory_v2_t *m) {
	nvmlMemory_t old;
	if (m->version != nvmlMemory_v2)
		return NVML_ERROR_ARGUMENT_VERSION_MISMATCH;
	if (mode("broken"))
		return NVML_ERROR_UNKNOWN;
	nvmlDeviceGetMemoryInfo(d, &old);
	m->total = old.total;
	m->reserved = is_part(d) ? 0 : 500ull << 20;
	m->used = old.used - m->reserved;
	m->free = old.free;
	return NVML_SUCCESS;
}

nvmlReturn_t nvmlSystemGetNVMLVersion(char *to, unsigned int n) { return put(to, n, "13.580.95.05"); }
nvmlReturn_t nvmlSystemGetCudaDriverVersion_v2(int *n) { *n = 13000; return NVML_SUCCESS; }
nvmlReturn_t nvmlDeviceGetVbiosVersion(nvmlDevice_t d, char *to, unsigned int n) { return put(to, n, "96.00.A5.00.01"); }
nvmlReturn_t nvmlDeviceGetArchitecture(nvmlDevice_t d, nvmlDeviceArchitecture_t *a) { *a = NVML_DEVICE_ARCH_HOPPER; return NVML_SUCCESS; }

static const int minors[] = {1, 0, 2};
nvmlReturn_t nvmlDeviceGetMinorNumber(nvmlDevice_t d, unsigned int *n) { *n = minors[at(d)]; return NVML_SUCCESS; }
nvmlReturn_t nvmlDeviceGetSerial(nvmlDevice_t d, char *to, unsigned int n) {
	char s[16];
	if (mode("broken"))
		return NVML_ERROR_IRQ_ISSUE;
	snprintf(s, sizeof s, "165%d", minors[at(d)]);
	return put(to, n, s);
}

nvmlReturn_t nvmlDeviceGetBAR1MemoryInfo(nvmlDevice_t d, nvmlBAR1Memory_t *m) { m->bar1Total = 128ull << 30; m->bar1Used = 1 << 20; m->bar1Free = m->bar1Total - m->bar1Used; return NVML_SUCCESS; }
nvmlReturn_t nvmlDeviceGetCurrPcieLinkGeneration(nvmlDevice_t d, unsigned int *n) { *n = 5; return NVML_SUCCESS; }
nvmlReturn_t nvmlDeviceGetMaxPcieLinkGeneration(nvmlDevice_t d, unsigned int *n) { *n = 5; return NVML_SUCCESS; }
nvmlReturn_t nvmlDeviceGetCurrPcieLinkWidth(nvmlDevice_t d, unsigned int *n) { *n = 16; return NVML_SUCCESS; }
nvmlReturn_t nvmlDeviceGetMaxPcieLinkWidth(nvmlDevice_t d, unsigned int *n) { *n = 16; return NVML_SUCCESS; }
nvmlReturn_t nvmlDeviceGetPcieReplayCounter(nvmlDevice_t d, unsigned int *n) { *n = 0; return NVML_SUCCESS; }
nvmlReturn_t nvmlDeviceGetUtilizationRates(nvmlDevice_t d, nvmlUtilization_t *u) { u->gpu = 25; u->memory = 1; return NVML_SUCCESS; }
nvmlReturn_t nvmlDeviceGetTotalEnergyConsumption(nvmlDevice_t d, unsigned long long *n) { *n = 1234567; return NVML_SUCCESS; }
nvmlReturn_t nvmlDeviceGetCurrentClocksEventReasons(nvmlDevice_t d, unsigned long long *r) { *r = mode("broken") ? 0x41 : 1; return NVML_SUCCESS; }

nvmlReturn_t nvmlDeviceGetFieldValues(nvmlDevice_t d, int n, nvmlFieldValue_t *v) {
	for (int i = 0; i < n; i++) {
		v[i].nvmlReturn = NVML_SUCCESS;
		v[i].valueType = NVML_VALUE_TYPE_UNSIGNED_INT;
		switch (v[i].fieldId) {
		case NVML_FI_DEV_POWER_INSTANT: v[i].value.uiVal = 99500; break;
		case NVML_FI_DEV_NVLINK_SPEED_MBPS_COMMON: v[i].value.uiVal = 26562; break;
		case NVML_FI_DEV_GET_GPU_RECOVERY_ACTION: v[i].value.uiVal = mode("broken") ? NVML_GPU_RECOVERY_ACTION_DRAIN_AND_RESET : 0; break;
		default: v[i].nvmlReturn = NVML_ERROR_NOT_SUPPORTED;
		}
	}
	return NVML_SUCCESS;
}

nvmlReturn_t nvmlDeviceGetTotalEccErrors(nvmlDevice_t d, nvmlMemoryErrorType_t t, nvmlEccCounterType_t c, unsigned long long *n) {
	*n = mode("broken") ? 10 * t + c : 0;
	return NVML_SUCCESS;
}
nvmlReturn_t nvmlDeviceGetMemoryErrorCounter(nvmlDevice_t d, nvmlMemoryErrorType_t t, nvmlEccCounterType_t c, nvmlMemoryLocation_t l, unsigned long long *n) {
	*n = mode("broken") && t == NVML_MEMORY_ERROR_TYPE_UNCORRECTED && l == NVML_MEMORY_LOCATION_SRAM ? 3 : 0;
	return NVML_SUCCESS;
}
nvmlReturn_t nvmlDeviceGetSramEccErrorStatus(nvmlDevice_t d, nvmlEccSramErrorStatus_t *s) {
	if (s->version != nvmlEccSramErrorStatus_v1)
		return NVML_ERROR_ARGUMENT_VERSION_MISMATCH;
	s->bThresholdExceeded = mode("broken");
	return NVML_SUCCESS;
}
nvmlReturn_t nvmlDeviceGetRepairStatus(nvmlDevice_t d, nvmlRepairStatus_t *s) { s->bChannelRepairPending = 0; s->bTpcRepairPending = mode("broken"); return NVML_SUCCESS; }
nvmlReturn_t nvmlDeviceGetRetiredPages(nvmlDevice_t d, nvmlPageRetirementCause_t c, unsigned int *n, unsigned long long *a) { return NVML_ERROR_NOT_SUPPORTED; }
nvmlReturn_t nvmlDeviceGetRemappedRows(nvmlDevice_t d, unsigned int *c, unsigned int *u, unsigned int *p, unsigned int *f) {
	*c = *u = *p = *f = 0;
	if (mode("broken"))
		*u = 2, *p = 1;
	return NVML_SUCCESS;
}

nvmlReturn_t nvmlDeviceGetGpuFabricInfoV(nvmlDevice_t d, nvmlGpuFabricInfoV_t *f) {
	if (in_mig(d))
		return NVML_ERROR_NOT_SUPPORTED;
	if (f->version != nvmlGpuFabricInfo_v3)
		return NVML_ERROR_ARGUMENT_VERSION_MISMATCH;
	memset(f->clusterUuid, 0, sizeof f->clusterUuid);
	f->cliqueId = 0;
	f->status = NVML_SUCCESS;
	f->state = NVML_GPU_FABRIC_STATE_COMPLETED;
	f->healthMask = 2 | 2 << 2 | 2 << 4 | 2 << 6 | 1 << 8;
	f->healthSummary = NVML_GPU_FABRIC_HEALTH_SUMMARY_HEALTHY;
	if (mode("fabric")) {
		for (int i = 0; i < 16; i++)
			f->clusterUuid[i] = 0x10 + i;
		f->cliqueId = 4294967295u;
		f->healthMask = 1 | 1 << 4 | 5 << 8;
		f->healthSummary = NVML_GPU_FABRIC_HEALTH_SUMMARY_UNHEALTHY;
	}
	return NVML_SUCCESS;
}

nvmlReturn_t nvmlDeviceGetMigMode(nvmlDevice_t d, unsigned int *current, unsigned int *pending) { *current = *pending = in_mig(d); return NVML_SUCCESS; }
nvmlReturn_t nvmlDeviceGetMaxMigDeviceCount(nvmlDevice_t d, unsigned int *n) { *n = in_mig(d) ? 7 : 0; return NVML_SUCCESS; }
nvmlReturn_t nvmlDeviceGetMigDeviceHandleByIndex(nvmlDevice_t d, unsigned int i, nvmlDevice_t *p) {
	if (i >= PARTS)
		return NVML_ERROR_NOT_FOUND;
	p->handle = &parts[i];
	return NVML_SUCCESS;
}
nvmlReturn_t nvmlDeviceGetGpuInstanceId(nvmlDevice_t d, unsigned int *n) { *n = at(d) ? 5 : 1; return is_part(d) ? NVML_SUCCESS : NVML_ERROR_INVALID_ARGUMENT; }
nvmlReturn_t nvmlDeviceGetComputeInstanceId(nvmlDevice_t d, unsigned int *n) { *n = 0; return is_part(d) ? NVML_SUCCESS : NVML_ERROR_INVALID_ARGUMENT; }
nvmlReturn_t nvmlDeviceGetAttributes_v2(nvmlDevice_t d, nvmlDeviceAttributes_t *a) {
	memset(a, 0, sizeof *a);
	a->multiprocessorCount = at(d) ? 14 : 42;
	a->gpuInstanceSliceCount = a->computeInstanceSliceCount = at(d) ? 1 : 3;
	a->memorySizeMB = at(d) ? 9984 : 40192;
	return NVML_SUCCESS;
}

nvmlReturn_t nvmlDeviceGetNvLinkState(nvmlDevice_t d, unsigned int link, nvmlEnableState_t *s) {
	if (link >= 18)
		return NVML_ERROR_INVALID_ARGUMENT;
	*s = !in_mig(d) && !(mode("bridge") && link % 2);
	return NVML_SUCCESS;
}
nvmlReturn_t nvmlDeviceGetNvLinkVersion(nvmlDevice_t d, unsigned int link, unsigned int *v) { *v = NVML_NVLINK_VERSION_4_0; return NVML_SUCCESS; }
nvmlReturn_t nvmlDeviceGetNvLinkRemoteDeviceType(nvmlDevice_t d, unsigned int link, nvmlIntNvLinkDeviceType_t *t) {
	*t = mode("bridge") ? NVML_NVLINK_DEVICE_TYPE_GPU : NVML_NVLINK_DEVICE_TYPE_SWITCH;
	return NVML_SUCCESS;
}
nvmlReturn_t nvmlDeviceGetNvLinkRemotePciInfo_v2(nvmlDevice_t d, unsigned int link, nvmlPciInfo_t *p) {
	if (mode("bridge"))
		return place((nvmlDevice_t){&cards[1 - at(d)]}, p);
	memset(p, 0, sizeof *p);
	p->bus = 0xc0 + link % 4;
	return NVML_SUCCESS;
}
nvmlReturn_t nvmlDeviceGetTopologyCommonAncestor(nvmlDevice_t a, nvmlDevice_t b, nvmlGpuTopologyLevel_t *l) { *l = NVML_TOPOLOGY_SYSTEM; return NVML_SUCCESS; }
nvmlReturn_t nvmlDeviceGetP2PStatus(nvmlDevice_t a, nvmlDevice_t b, nvmlGpuP2PCapsIndex_t i, nvmlGpuP2PStatus_t *s) {
	*s = i == NVML_P2P_CAPS_INDEX_NVLINK && !in_mig(a) && !in_mig(b) ? NVML_P2P_STATUS_OK : NVML_P2P_STATUS_NOT_SUPPORTED;
	return NVML_SUCCESS;
}
#endif
