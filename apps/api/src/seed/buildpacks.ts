import { randomUUID } from 'node:crypto'
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Transaction } from '@bloomery/database'

/** The reference's order: the most particular first, and last the one that takes anything with a command. */
const ORDER = ['staticfile', 'java', 'ruby', 'dotnet_core', 'nodejs', 'go', 'python', 'php', 'nginx', 'r', 'binary']
const rank = (folder: string): number => (ORDER.includes(folder) ? ORDER.indexOf(folder) : ORDER.length - 1.5)

/** Adds the product's own buildpacks that the database does not list yet. What an operator has renamed, moved or disabled stays so. */
export async function seedBuildpacks(tx: Transaction, folder: string | undefined): Promise<void> {
  if (folder === undefined || !existsSync(folder)) return
  const present = await tx.buildpack.findMany({ orderBy: { position: 'asc' } })
  for (const name of systemBuildpacksIn(folder)) {
    if (present.some((each) => each.system && each.filename?.startsWith(`${name}_buildpack-`))) continue
    const next = present.find((each) => each.system && rank(each.name.replace(/_buildpack$/, '')) > rank(name))
    const position = next?.position ?? (present.at(-1)?.position ?? 0) + 1
    await tx.buildpack.updateMany({ where: { position: { gte: position } }, data: { position: { increment: 1 } } })
    await tx.buildpack.create({
      data: {
        guid: randomUUID(),
        name: `${name}_buildpack`,
        position,
        state: 'READY',
        filename: `${name}_buildpack-v${versionOf(join(folder, name))}.zip`,
        system: true,
      },
    })
    present.splice(0, present.length, ...(await tx.buildpack.findMany({ orderBy: { position: 'asc' } })))
  }
}

function systemBuildpacksIn(folder: string): string[] {
  return readdirSync(folder, { withFileTypes: true })
    .filter(
      (entry) => entry.isDirectory() && ['bin/detect', 'manifest.yml'].some((file) => existsSync(join(folder, entry.name, file))),
    )
    .map((entry) => entry.name)
    .sort((a, b) => rank(a) - rank(b))
}

function versionOf(folder: string): string {
  const path = join(folder, 'package.json')
  if (!existsSync(path)) return '1.0.0'
  const { version } = JSON.parse(readFileSync(path, 'utf8')) as { version?: string }
  return version ?? '1.0.0'
}
