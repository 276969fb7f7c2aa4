/** Account is the connections that one tenant, data server or process has, and who wants more of them. */
export interface Account {
  /** Connections opening, open or closing: all that the server may still count. */
  used: number
  /** Those of them that are on their way out. */
  closing: number
  opening: number
  /** Pools that were refused one. */
  claims: number
  /** The most that was ever used at once, since the account is there. */
  peak: number
}

export function newAccount(): Account {
  return { used: 0, closing: 0, opening: 0, claims: 0, peak: 0 }
}

/** isShort says that more pools wait than connections are on their way out. */
export function isShort({ claims, closing }: Account): boolean {
  return claims > closing
}

/** Accounts is accounts by name; one that nobody uses or wants anything of is dropped, unless `keep`. */
export class Accounts {
  readonly #accounts = new Map<string, Account>()
  readonly #keep: boolean

  constructor({ keep }: { readonly keep: boolean }) {
    this.#keep = keep
  }

  get names(): Iterable<string> {
    return this.#accounts.keys()
  }

  get size(): number {
    return this.#accounts.size
  }

  find(name: string): Account | undefined {
    return this.#accounts.get(name)
  }

  /** of finds an account or makes an empty one. */
  of(name: string): Account {
    let found = this.#accounts.get(name)
    if (found === undefined) {
      found = newAccount()
      this.#accounts.set(name, found)
    }
    return found
  }

  /** tidy drops the account when it is empty. */
  tidy(name: string): void {
    const found = this.#accounts.get(name)
    if (!this.#keep && found?.used === 0 && found.claims === 0) this.#accounts.delete(name)
  }
}
