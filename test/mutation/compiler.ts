import { resolve } from 'node:path'
import type { SourceFile } from 'typescript/unstable/ast'
import { API, type Program, type Snapshot } from 'typescript/unstable/sync'

/**
 * What tsc says of a mutant that is no fault of its types: something is no longer used, or no longer reached. A
 * mutant is not left out for that.
 */
const IDLE_CODES: ReadonlySet<number> = new Set([6133, 6138, 6192, 6196, 6198, 6199, 6205, 7027, 7028])

/** Compiler parses files of a project, and checks one of them with another text in it. No file on disk changes. */
export class Compiler implements Disposable {
  readonly #api: API
  readonly #config: string
  readonly #texts = new Map<string, string>()
  #snapshot: Snapshot

  /** `config` is the project's tsconfig. */
  constructor(config: string) {
    this.#config = resolve(config)
    this.#api = new API({ fs: { readFile: (file) => this.#texts.get(file) } })
    this.#snapshot = this.#api.updateSnapshot({ openProjects: [this.#config] })
  }

  /**
   * parse returns the tree of a file, as it is on disk or with another text in it.
   * @throws Error when the project does not have the file
   */
  parse(file: string, text?: string): SourceFile {
    return this.#with(file, text, (program, path) => {
      const source = program.getSourceFile(path)
      if (source === undefined) throw new Error(`${file} does not belong to ${this.#config}`)
      return source
    })
  }

  /** problems is what tsc says of `text` in place of the file's; other files are not asked. */
  problems(file: string, text: string): readonly string[] {
    return this.#with(file, text, (program, path) => {
      const syntax = program.getSyntacticDiagnostics(path)
      const found = syntax.length > 0 ? syntax : program.getSemanticDiagnostics(path)
      return found.filter(({ code }) => !IDLE_CODES.has(code)).map(({ text }) => text)
    })
  }

  [Symbol.dispose](): void {
    this.#api.close()
  }

  #with<T>(file: string, text: string | undefined, ask: (program: Program, path: string) => T): T {
    const path = resolve(file)
    if (text === undefined) return ask(this.#program, path)
    this.#texts.set(path, text)
    this.#update(path)
    try {
      return ask(this.#program, path)
    } finally {
      this.#texts.delete(path)
      this.#update(path)
    }
  }

  get #program(): Program {
    const [project] = this.#snapshot.getProjects()
    if (project === undefined) throw new Error(`${this.#config} is no project`)
    return project.program
  }

  #update(path: string): void {
    const before = this.#snapshot
    this.#snapshot = this.#api.updateSnapshot({ fileChanges: { changed: [path] } })
    before.dispose()
  }
}
