package content

import "strings"

// byExtension are the types of names that end so, in lower case. They are those of IANA, and what browsers show where that
// differs (a log, a script and a diff are to be read). Endings of which several formats make use are not among them.
var byExtension = table(`
text/plain                    .txt .text .log .out .err .diff .patch .ini .cfg .conf .toml .sh .bash .py .rb .pl .go .rs .c .h .cc .cpp .hpp .java .kt .swift .lock .env .lst .list .md5 .sha1 .sha256 .sha512
text/html                     .html .htm
text/css                      .css
text/javascript               .js .mjs .cjs
text/csv                      .csv
text/tab-separated-values     .tsv
text/markdown                 .md .markdown
text/xml                      .xml .xsl .xsd
text/vtt                      .vtt
application/json              .json .webmanifest .sarif .har .ipynb
application/x-ndjson          .jsonl .ndjson
application/yaml              .yaml .yml
application/xhtml+xml         .xhtml
image/svg+xml                 .svg
application/atom+xml          .atom
application/rss+xml           .rss
image/png                     .png
image/jpeg                    .jpg .jpeg
image/gif                     .gif
image/webp                    .webp
image/avif                    .avif
image/bmp                     .bmp
image/tiff                    .tif .tiff
image/x-icon                  .ico
video/mp4                     .mp4 .m4v
video/webm                    .webm
video/quicktime               .mov
video/x-matroska              .mkv
audio/mpeg                    .mp3
audio/mp4                     .m4a
audio/ogg                     .ogg .oga .opus
audio/wav                     .wav
audio/flac                    .flac
font/woff                     .woff
font/woff2                    .woff2
font/ttf                      .ttf
font/otf                      .otf
application/pdf               .pdf
application/wasm              .wasm
application/zip               .zip
application/java-archive      .jar .war
application/vnd.android.package-archive  .apk
application/gzip              .gz .tgz
application/x-bzip2           .bz2 .tbz2
application/x-xz              .xz .txz
application/zstd              .zst
application/x-7z-compressed   .7z
application/x-tar             .tar
application/vnd.debian.binary-package    .deb
application/x-rpm             .rpm
application/vnd.sqlite3       .sqlite .sqlite3
application/octet-stream      .bin .exe .dll .so .dylib .a .o .img .iso .dmg .pdb .dmp .class .whl
`)

func table(lines string) map[string]string {
	types := map[string]string{}
	for line := range strings.Lines(lines) {
		fields := strings.Fields(line)
		for i := 1; i < len(fields); i++ {
			types[fields[i]] = fields[0]
		}
	}
	return types
}
