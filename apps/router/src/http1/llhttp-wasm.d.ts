/** The parser of Node's own HTTP client as WebAssembly; undici's exact version is pinned, since the path is internal to it. */
declare module 'undici/lib/llhttp/llhttp_simd-wasm.js' {
  const bytes: Buffer
  export = bytes
}
