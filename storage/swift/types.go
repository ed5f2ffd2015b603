package swift

import (
	"path"
	"slices"
	"strings"
)

// types are of files' names, for objects that are put without one. The table is our own,
// so that an answer does not depend on what a machine has installed.
var types = map[string]string{
	".7z":    "application/x-7z-compressed",
	".aac":   "audio/aac",
	".aif":   "audio/x-aiff",
	".aiff":  "audio/x-aiff",
	".apk":   "application/vnd.android.package-archive",
	".au":    "audio/basic",
	".avi":   "video/x-msvideo",
	".bmp":   "image/bmp",
	".c":     "text/plain",
	".class": "application/java-vm",
	".cpp":   "text/x-c++src",
	".css":   "text/css",
	".csv":   "text/csv",
	".deb":   "application/vnd.debian.binary-package",
	".doc":   "application/msword",
	".docx":  "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
	".eot":   "application/vnd.ms-fontobject",
	".eps":   "application/postscript",
	".flac":  "audio/flac",
	".flv":   "video/x-flv",
	".gif":   "image/gif",
	".h":     "text/plain",
	".h5":    "application/x-hdf5",
	".htm":   "text/html",
	".html":  "text/html",
	".ico":   "image/vnd.microsoft.icon",
	".iso":   "application/x-iso9660-image",
	".jar":   "application/java-archive",
	".java":  "text/x-java",
	".jpeg":  "image/jpeg",
	".jpg":   "image/jpeg",
	".js":    "text/javascript",
	".json":  "application/json",
	".m4a":   "audio/mp4",
	".m4v":   "video/mp4",
	".md":    "text/markdown",
	".mid":   "audio/midi",
	".midi":  "audio/midi",
	".mjs":   "text/javascript",
	".mkv":   "video/x-matroska",
	".mov":   "video/quicktime",
	".mp3":   "audio/mpeg",
	".mp4":   "video/mp4",
	".mpeg":  "video/mpeg",
	".mpg":   "video/mpeg",
	".ogg":   "audio/ogg",
	".pdf":   "application/pdf",
	".png":   "image/png",
	".ppt":   "application/vnd.ms-powerpoint",
	".pptx":  "application/vnd.openxmlformats-officedocument.presentationml.presentation",
	".ps":    "application/postscript",
	".py":    "text/x-python",
	".qt":    "video/quicktime",
	".rar":   "application/vnd.rar",
	".rpm":   "application/x-redhat-package-manager",
	".rtf":   "application/rtf",
	".sh":    "application/x-sh",
	".snd":   "audio/basic",
	".sql":   "application/sql",
	".svg":   "image/svg+xml",
	".swf":   "application/x-shockwave-flash",
	".tar":   "application/x-tar",
	".tex":   "application/x-tex",
	".texi":  "application/x-texinfo",
	".tgz":   "application/x-tar",
	".tif":   "image/tiff",
	".tiff":  "image/tiff",
	".tsv":   "text/tab-separated-values",
	".ttf":   "font/ttf",
	".txt":   "text/plain",
	".wasm":  "application/wasm",
	".wav":   "audio/x-wav",
	".webm":  "video/webm",
	".webp":  "image/webp",
	".wma":   "audio/x-ms-wma",
	".wmv":   "video/x-ms-wmv",
	".woff":  "font/woff",
	".woff2": "font/woff2",
	".xls":   "application/vnd.ms-excel",
	".xlsx":  "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
	".xml":   "text/xml",
	".zip":   "application/zip",
}

// packings say how a file is packed, and not what it is.
var packings = []string{".gz", ".bz2", ".xz", ".br", ".Z"}

func guessType(key string) string {
	ext := path.Ext(key)
	if slices.Contains(packings, ext) {
		ext = path.Ext(strings.TrimSuffix(key, ext))
	}
	if t, ok := types[strings.ToLower(ext)]; ok {
		return t
	}
	return "application/octet-stream"
}
