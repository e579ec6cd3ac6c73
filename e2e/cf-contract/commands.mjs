/** `expect` is the client's exit code; with `until` it is interrupted once a request that begins so was answered. */
export const run = (line, options = {}) => ({
  args: typeof line === 'string' ? line.split(' ') : line,
  expect: 0,
  ...(typeof options === 'number' ? { expect: options } : options),
})
/** From the next command on the service broker does so: fields of the scripted broker. */
export const broker = (settings) => ({ settings })
