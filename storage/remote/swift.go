package remote

const segmentsSuffix = "+segments"
