import { access, rename, rm } from 'node:fs/promises'
import { ServiceFault } from './engine.js'

/**
 * Replaces data by those of a file where they cannot be loaded beside the present ones: these are dumped first, and come back if the file
 * cannot be read. May be interrupted at any line and called again.
 */
export async function replaceData(options: {
  /** Where the present data are kept meanwhile. */
  readonly present: string
  readonly file: string
  dump(into: string): Promise<void>
  /** Takes away what is there, and loads the file. */
  load(from: string): Promise<void>
  readonly signal: AbortSignal
}): Promise<void> {
  const { present, file, signal } = options
  const unfinished = `${present}.new`
  // One from an interrupted restore holds the data as they were; what is in the server may not be whole.
  const kept = await access(present).then(
    () => true,
    () => false,
  )
  if (!kept) {
    await options.dump(unfinished)
    await rename(unfinished, present)
  }
  try {
    await options.load(file)
  } catch (error) {
    if (signal.aborted) throw error
    await options.load(present)
    await rm(present, { force: true })
    throw new ServiceFault('The backup could not be read; the data are as they were before.', { cause: error })
  }
  await rm(present, { force: true })
}
