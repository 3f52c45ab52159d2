// Pictures with a palette: a third of the size, and nobody sees a difference.
import UPNG from 'upng-js';

const COLORS = 256;

(globalThis as any).smaller = async (base64: string): Promise<string> => {
  const bytes = Uint8Array.from(atob(base64), (letter) => letter.charCodeAt(0));
  const pixels = UPNG.toRGBA8(UPNG.decode(bytes.buffer))[0];
  const { width, height } = UPNG.decode(bytes.buffer);
  const made = new Uint8Array(UPNG.encode([pixels], width, height, COLORS));
  let text = '';
  for (let at = 0; at < made.length; at += 8192) {
    text += String.fromCharCode(...made.subarray(at, at + 8192));
  }
  return btoa(text);
};
