package livelog

import (
	"encoding/binary"
	"slices"
)

// The scanner looks at three bytes in every four: a text of a form has at least MinSecret bytes, so wherever it begins,
// one look falls into its first six. Nearly always these three are not among those that can stand there, which a small table
// tells. Else the forms in question are compared byte by byte.
const (
	gramSize   = 3
	stride     = MinSecret - gramSize + 1
	filterBits = 18 // 32 KiB, which stay in the processor's first cache
)

// gram is three bytes that can stand at an offset, less than stride, from the beginning of a text of a form.
type gram struct {
	bytes  [gramSize]byte
	offset int
}

// gramsOf lists the grams of a form.
func gramsOf(elements []*element) []gram {
	seen := map[gram]bool{}
	// begins holds how many bytes may come before the element.
	begins := map[int]bool{0: true}
	for i := 0; len(begins) > 0; i++ {
		next := map[int]bool{}
		for begin := range begins {
			for _, spelling := range elements[i].spellings {
				for skip := 0; skip < len(spelling) && begin+skip < stride; skip++ {
					eachPrefix(spelling[skip:], elements[i+1:], func(b [gramSize]byte) {
						seen[gram{b, begin + skip}] = true
					})
				}
				if begin+len(spelling) < stride {
					next[begin+len(spelling)] = true
				}
			}
		}
		begins = next
	}
	all := make([]gram, 0, len(seen))
	for g := range seen {
		all = append(all, g)
	}
	return all
}

// eachPrefix calls found with the first bytes of all texts that begin with text and go on with elements.
func eachPrefix(text string, elements []*element, found func([gramSize]byte)) {
	if len(text) >= gramSize {
		found([gramSize]byte([]byte(text[:gramSize])))
		return
	}
	if len(elements) == 0 {
		return
	}
	for _, spelling := range elements[0].spellings {
		eachPrefix(text+spelling, elements[1:], found)
	}
}

// formSet finds forms. It does not change.
type formSet struct {
	forms  []form
	filter [1 << filterBits / 64]uint64
	grams  map[uint32][]candidate
	first  [256][]int32 // forms by the bytes that they can begin with
}

// candidate is a form that may have begun offset bytes before a gram.
type candidate struct {
	form   int32
	offset int32
}

// extent is a part of the data.
type extent struct{ begin, end int }

func newFormSet(forms []form) *formSet {
	s := &formSet{forms: forms, grams: map[uint32][]candidate{}}
	for i, f := range forms {
		for _, g := range f.grams {
			key := uint32(g.bytes[0]) | uint32(g.bytes[1])<<8 | uint32(g.bytes[2])<<16
			s.grams[key] = append(s.grams[key], candidate{int32(i), int32(g.offset)})
			h := filterHash(key)
			s.filter[h/64] |= 1 << (h % 64)
			if first := &s.first[g.bytes[0]]; g.offset == 0 && !slices.Contains(*first, int32(i)) {
				*first = append(*first, int32(i))
			}
		}
	}
	return s
}

func filterHash(key uint32) uint32 { return key * 0x9E3779B1 >> (32 - filterBits) }

// scan appends to found, in no order, where there are texts of forms in data, the longest from each place.
// From alive on (len(data) if there is no such place) the data may be the beginning of one that it does not hold to its end.
func (s *formSet) scan(data []byte, found []extent) (_ []extent, alive int) {
	alive = len(data)
	try := func(form int32, begin int) {
		end, mayGoOn := s.forms[form].match(data, begin)
		if end >= 0 {
			found = append(found, extent{begin, end})
		}
		if mayGoOn {
			alive = min(alive, begin)
		}
	}
	late := max(0, len(data)-MinSecret+1) // forms that begin here have no full look
	look := func(at int, key uint32) {
		for _, c := range s.grams[key] {
			if begin := at - int(c.offset); begin >= 0 && begin < late {
				try(c.form, begin)
			}
		}
	}
	at := 0
	for ; at+4 <= len(data); at += stride {
		key := binary.LittleEndian.Uint32(data[at:at+4]) & 0xFFFFFF
		if h := filterHash(key); s.filter[h/64]&(1<<(h%64)) != 0 {
			look(at, key)
		}
	}
	if at+gramSize <= len(data) {
		look(at, uint32(data[at])|uint32(data[at+1])<<8|uint32(data[at+2])<<16)
	}
	for begin := late; begin < len(data); begin++ {
		for _, form := range s.first[data[begin]] {
			try(form, begin)
		}
	}
	return found, alive
}
