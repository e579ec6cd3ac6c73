import { copyFileSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { basename, dirname, join } from 'node:path'

/**
 * Copies a built program, with the parts that it imports, into a folder from where the servers' user can run it: the platform's own
 * folder need not be open to that user. Answers where the program is then.
 */
export function copyProgram(program: string, folder: string): string {
  const copied = new Set<string>()
  const copy = (name: string): void => {
    if (copied.has(name)) return
    copied.add(name)
    const source = join(dirname(program), name)
    copyFileSync(source, join(folder, name))
    for (const [, part = ''] of readFileSync(source, 'utf8').matchAll(/(?:from|import)\s*\(?\s*["']\.\/([\w.-]+\.js)["']/g))
      copy(part)
  }
  copy(basename(program))
  writeFileSync(join(folder, 'package.json'), '{"type":"module"}\n')
  return join(folder, basename(program))
}

/** True if everybody on this machine may run it. */
export function isOpenToAll(program: string): boolean {
  for (let path = program; ; path = dirname(path)) {
    if ((statSync(path).mode & 0o001) === 0) return false
    if (dirname(path) === path) return true
  }
}
