import { chmod, mkdir, mkdtemp, rm, symlink, truncate, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { listSource, openSource } from './source-files.js'

let folder: string
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'source-files-'))
})
afterEach(() => rm(folder, { recursive: true, force: true }))

async function files(...paths: string[]): Promise<void> {
  for (const path of paths) {
    await mkdir(dirname(join(folder, path)), { recursive: true })
    await writeFile(join(folder, path), path)
  }
}
const listed = async (): Promise<string[]> =>
  (await listSource(folder)).filter(({ kind }) => kind === 'file').map(({ path }) => path)

describe('what a push takes of a folder', () => {
  it.each<[string, string, string[], string[]]>([
    ['a name anywhere', 'node_modules', ['a.js', 'node_modules/x.js', 'sub/node_modules/y.js'], ['a.js']],
    ['a rooted name', '/build', ['build/x', 'sub/build/y'], ['sub/build/y']],
    ['a folder by its slash', 'log/', ['log/x', 'sub/log'], ['sub/log']],
    ['a pattern', '*.log', ['a.log', 'b.txt', 'sub/c.log'], ['b.txt']],
    ['any depth', 'a/**/z', ['a/z', 'a/b/c/z', 'a/b/y'], ['a/b/y']],
    ['an exception', '*.log\n!keep.log', ['a.log', 'keep.log'], ['keep.log']],
    ['comments and blank lines', '# no\n\n\\#yes', ['#yes', 'no'], ['no']],
    ['a question mark', 'file?.txt', ['file1.txt', 'file10.txt'], ['file10.txt']],
    ['Windows line ends', '*.log\r\nb.txt\r\n', ['a.log', 'b.txt', 'c'], ['c']],
    ['names by their case', 'readme', ['README', 'readme'], ['README']],
  ])('ignores %s', async (_name, rules, present, expected) => {
    await files(...present)
    await writeFile(join(folder, '.cfignore'), rules)
    expect(await listed()).toEqual(expected)
  })

  it('never takes version control, manifests and the rules themselves', async () => {
    await files(
      '.git/config',
      '.gitignore',
      '.hg/x',
      '.svn/x',
      '_darcs/x',
      '.DS_Store',
      'manifest.yml',
      'manifest.yaml',
      '.profile',
      'a',
    )
    await writeFile(join(folder, '.cfignore'), '')
    expect(await listed()).toEqual(['.profile', 'a'])
  })

  it('takes modes, empty folders and links as links', async () => {
    await files('run')
    await chmod(join(folder, 'run'), 0o750)
    await mkdir(join(folder, 'empty'))
    await chmod(join(folder, 'empty'), 0o755)
    await symlink('../outside', join(folder, 'link'))
    expect(await listSource(folder)).toEqual([
      { kind: 'folder', path: 'empty', mode: 0o755 },
      { kind: 'link', path: 'link', target: '../outside' },
      { kind: 'file', path: 'run', absolute: join(folder, 'run'), mode: 0o750, size: 3 },
    ])
  })

  it('takes files and archives beyond two gigabytes for what they are', async () => {
    const size = 3 * 2 ** 30
    await writeFile(join(folder, 'large.zip'), '')
    await truncate(join(folder, 'large.zip'), size)
    expect(await openSource(folder)).toMatchObject({ kind: 'folder', entries: [{ path: 'large.zip', size }] })
    expect(await openSource(join(folder, 'large.zip'))).toEqual({ kind: 'archive', path: join(folder, 'large.zip'), size })
  })

  it('refuses an archive without a byte', async () => {
    await writeFile(join(folder, 'empty.zip'), '')
    await expect(openSource(join(folder, 'empty.zip'))).rejects.toThrow('is empty')
  })

  it('refuses a folder with nothing to push', async () => {
    await files('.git/config')
    await expect(listSource(folder)).rejects.toThrow('nothing to push')
  })
})
