// The admin page in a real browser: `node admin.mjs ADMIN_URL SHOP_URL EVIL_URL`.
//
// Prints a line for each check and fails at the first one that does not hold. With SCREENSHOTS set to a
// folder, what was seen is left there.
import assert from "node:assert/strict";
import puppeteer from "puppeteer-core";
import { look, sound } from "./sound.mjs";

const [admin, shop, evil] = process.argv.slice(2);
const account = { username: "admin", password: "secret" };

const browser = await puppeteer.launch({
  executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
  // As root, in a container, there is no other way.
  args: ["--no-sandbox", "--disable-dev-shm-usage", "--font-render-hinting=none"],
});

async function check(name, steps) {
  const began = Date.now();
  // A context of its own: no cookies, no password, nothing cached.
  const context = await browser.createBrowserContext();
  const page = await context.newPage();
  page.setDefaultTimeout(20_000);
  const complaints = [];
  page.on("console", (message) => message.type() === "error" && complaints.push(message.text()));
  page.on("pageerror", (error) => complaints.push(String(error)));
  try {
    await steps(page, complaints);
  } catch (error) {
    console.error(`not ok: ${name}: ${error.stack}`);
    process.exitCode = 1;
  }
  await context.close();
  console.log(`${process.exitCode ? "--" : "ok"} ${name} (${Date.now() - began} ms)`);
}

async function enter(page) {
  await page.authenticate(account);
}

const seen = (page, text) => page.waitForFunction((text) => document.body.innerText.includes(text), {}, text);
const status = (path) => fetch(shop + path).then((answer) => answer.headers.get("cache-status"));

// Asked until it is a hit.
async function warm(path) {
  while (!(await status(path)).includes("hit"));
}

await warm("/product/1");
await warm("/product/2?page=2");

await check("the wrong password is refused", async (page) => {
  await page.authenticate({ username: "admin", password: "wrong" });
  const answer = await page.goto(admin + "/overview").catch((error) => error);
  assert.ok(answer instanceof Error || answer.status() === 401, String(answer));
  assert.equal((await fetch(admin + "/overview")).status, 401);
});

await check("a stored script stays text", async (page, complaints) => {
  await enter(page);
  await page.goto(admin + "/key?key=product%3A1");
  await Promise.all([page.waitForNavigation(), page.click("tbody a.key")]);
  const body = await page.$eval("pre.body", (pre) => pre.textContent);
  assert.ok(body.includes("<script>document.title='owned'</script>"), body);
  assert.notEqual(await page.title(), "owned");
  assert.equal(await page.$$eval("pre.body script", (scripts) => scripts.length), 0);
  assert.deepEqual(complaints, []);
});

await check("the numbers move without a reload", async (page, complaints) => {
  await enter(page);
  await page.goto(admin + "/overview");
  await page.waitForFunction(() => Number(document.querySelector("[data-live]").dataset.moves) >= 2);
  assert.deepEqual(complaints, []);
});

for (const script of [true, false]) {
  await check(`a key is cleared after a question, ${script ? "with" : "without"} JavaScript`, async (page) => {
    await warm("/product/1");
    await page.setJavaScriptEnabled(script);
    await enter(page);
    await page.goto(admin + "/keys");
    await page.type("#search", "product:1");
    await Promise.all([page.waitForNavigation(), page.keyboard.press("Enter")]);
    await Promise.all([page.waitForNavigation(), page.click("a[aria-label='Clear product:1']")]);
    assert.ok((await page.$eval("h1", (h1) => h1.textContent)).includes("product:1"));
    // Text of the colour of its ground is something that axe cannot tell.
    if (script) {
      const [text, ground] = await page.$eval("button.danger", (button) => [getComputedStyle(button).color, getComputedStyle(button).backgroundColor]);
      assert.notEqual(text, ground, "the button can be read");
    }
    await Promise.all([page.waitForNavigation(), page.click("button.danger")]);
    assert.ok((await page.$eval("[role=status]", (notice) => notice.textContent)).includes("product:1"));
    assert.ok(!(await status("/product/1")).includes("hit"));
  });
}

await check("everything is cleared only after the box is ticked", async (page) => {
  await warm("/product/2?page=2");
  await enter(page);
  await page.goto(admin + "/question?what=all");
  await page.click("button.danger");
  assert.ok(page.url().includes("/question"), "the browser itself refuses");
  await page.click("input[type=checkbox]");
  await Promise.all([page.waitForNavigation(), page.click("button.danger")]);
  await seen(page, "everything");
  assert.ok(!(await status("/product/2?page=2")).includes("hit"));
});

await check("a post from another site is refused", async (page) => {
  await warm("/product/1");
  await enter(page);
  // The browser knows password and cookie by now.
  await page.goto(admin + "/overview");
  const answer = page.waitForResponse((answer) => answer.url().endsWith("/clear"));
  await page.goto(evil).catch(() => {});
  assert.equal((await answer).status(), 403);
  assert.ok((await status("/product/1")).includes("hit"));
});

await check("everything can be reached and read by keyboard", async (page) => {
  await enter(page);
  await page.goto(admin + "/keys");
  await page.keyboard.press("Tab");
  assert.equal(await page.evaluate(() => document.activeElement.textContent), "Skip to content");
  await page.keyboard.press("Enter");
  await page.keyboard.press("Tab");
  assert.equal(await page.evaluate(() => document.activeElement.id), "search");
});

for (const name of ["light", "dark", "phone"]) {
  await check(`every view is sound, ${name}`, async (page, complaints) => {
    await warm("/product/1");
    await warm("/product/2?page=2");
    await look(page, name);
    await enter(page);
    const entry = async () => {
      const answer = await page.evaluate((url) => fetch(url).then((answer) => answer.json()), admin + "/key.json?key=product%3A1");
      return `/entry?version=${answer.entries[0].version}&id=${answer.entries[0].id}`;
    };
    await page.goto(admin + "/overview");
    const views = {
      overview: "/overview",
      handlers: "/handlers",
      keys: "/keys",
      key: "/key?key=product%3A1",
      entry: await entry(),
      clears: "/clears",
      question: "/question?what=key&name=product%3A1",
      everything: "/question?what=all",
      missing: "/no-such-view",
    };
    for (const [view, path] of Object.entries(views)) await sound(page, admin + path, `${view}-${name}`);
    assert.deepEqual(complaints.filter((text) => !text.includes("404")), []);
  });
}

await browser.close();
