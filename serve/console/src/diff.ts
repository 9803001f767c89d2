// Which words of two texts are not in the other one.

export interface Part {
  text: string;
  differs: boolean;
}

/** Beyond so many words the comparison would take long, and nobody reads the marks. */
const MOST = 400;

const words = (text: string): string[] => text.match(/[\p{L}\p{N}]+|[^\p{L}\p{N}]+/gu) ?? [];
const key = (word: string): string => word.normalize("NFKD").replace(/\p{M}/gu, "").toLowerCase();
const isWord = (word: string): boolean => /[\p{L}\p{N}]/u.test(word);

/** By the longest common subsequence of words; case, accents and punctuation are no difference. */
export function differences(a: string, b: string): [Part[], Part[]] {
  const [x, y] = [words(a), words(b)];
  if (x.length > MOST || y.length > MOST) return [[{ text: a, differs: false }], [{ text: b, differs: false }]];
  const [u, v] = [x.filter(isWord).map(key), y.filter(isWord).map(key)];
  const lengths = Array.from({ length: u.length + 1 }, () => new Uint16Array(v.length + 1));
  for (let i = u.length - 1; i >= 0; i--) {
    for (let j = v.length - 1; j >= 0; j--) {
      lengths[i][j] = u[i] === v[j] ? lengths[i + 1][j + 1] + 1 : Math.max(lengths[i + 1][j], lengths[i][j + 1]);
    }
  }
  const [inA, inB] = [new Set<number>(), new Set<number>()];
  for (let i = 0, j = 0; i < u.length && j < v.length; ) {
    if (u[i] === v[j]) {
      inA.add(i++);
      inB.add(j++);
    } else if (lengths[i + 1][j] >= lengths[i][j + 1]) i++;
    else j++;
  }
  return [marked(x, inA), marked(y, inB)];
}

function marked(all: string[], common: Set<number>): Part[] {
  const parts: Part[] = [];
  let n = 0;
  for (const text of all) {
    const word = isWord(text);
    const differs = word && !common.has(n);
    if (word) n += 1;
    const last = parts.at(-1);
    if (last && last.differs === differs) last.text += text;
    else parts.push({ text, differs });
  }
  return parts;
}
