// What the C++ of a translated kernel stands on: PTX's types and operations, and the checks that
// make running it here worth while. Threads run one after the other.
#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>
#include <type_traits>
#include <unordered_map>

typedef uint8_t u8;
typedef uint16_t u16;
typedef uint32_t u32;
typedef uint64_t u64;
typedef int8_t s8;
typedef int16_t s16;
typedef int32_t s32;
typedef int64_t s64;
typedef u8 b8;
typedef u16 b16;
typedef u32 b32;
typedef u64 b64;
typedef _Float16 f16;
typedef float f32;
typedef double f64;

// What a launch is judged by; read from outside.
extern "C" {
u64 executed;    // instructions
u64 misaligned;  // accesses
u64 races;       // conflicting accesses of two threads
bool detect_races;
}

static u32 thread_in_block, block, threads_per_block, blocks;

// Registers hold bits; an instruction's type says what they mean.
template <class T, class R>
static inline T as(R bits) {
  u64 wide = 0;
  T value;
  memcpy(&wide, &bits, sizeof bits);
  memcpy(&value, &wide, sizeof value);
  return value;
}
template <class R, class T>
static inline void put(R &target, T value) {  // sign- or zero-extended into a wider register
  if constexpr (sizeof(T) >= sizeof(R) || std::is_floating_point_v<T> || std::is_same_v<T, f16>) {
    u64 wide = 0;
    memcpy(&wide, &value, sizeof value);
    memcpy(&target, &wide, sizeof target);
  } else {
    std::conditional_t<std::is_signed_v<T>, s64, u64> wide = value;
    memcpy(&target, &wide, sizeof target);
  }
}

static inline f32 flushed(f32 x) { return std::fabs(x) < 0x1p-126f ? std::copysign(0.f, x) : x; }

// Kernels here have no barriers, so any two threads that touch the same bytes in one launch race,
// unless both read or both are atomic. Two bytes share an entry: nothing narrower is accessed.
enum Access : u8 { READ = 1, WRITE = 2, ATOMIC = 4 };
struct Touch {
  u32 thread, launch;
  u8 kinds;
  bool by_many;
};
static u32 launch_number;
static auto &shadow_pages = *new std::unordered_map<u64, Touch *>;
static u64 last_page_number = ~(u64)0;
static Touch *last_page;

static Touch &shadow_of(u64 address) {
  const u64 number = address >> 12;
  if (number != last_page_number) {
    Touch *&page = shadow_pages[number];
    if (page == nullptr) page = new Touch[2048]();
    last_page_number = number;
    last_page = page;
  }
  return last_page[(address & 4095) >> 1];
}
static inline void touch(u64 address, unsigned bytes, u8 kind) {
  if (!detect_races) return;
  const u32 me = block * threads_per_block + thread_in_block;
  for (u64 at = address & ~(u64)1; at < address + bytes; at += 2) {
    Touch &known = shadow_of(at);
    if (known.launch != launch_number) {
      known = {me, launch_number, kind, false};
      continue;
    }
    const bool is_other = known.by_many || known.thread != me;
    const u8 kinds = known.kinds | kind;
    races += is_other && kinds != READ && kinds != ATOMIC;
    known.by_many |= known.thread != me;
    known.kinds = kinds;
  }
}

static inline void need_alignment(u64 address, unsigned bytes) {
  misaligned += (address & (bytes - 1)) != 0;
}
template <class T>
static inline T load(u64 address) {
  T value;
  memcpy(&value, (void *)address, sizeof value);
  return value;
}
template <class T>
static inline void store(u64 address, T value) {
  memcpy((void *)address, &value, sizeof value);
}
template <class T>
static inline T load_global(u64 address) {
  touch(address, sizeof(T), READ);
  return load<T>(address);
}
template <class T>
static inline void store_global(u64 address, T value) {
  touch(address, sizeof(T), WRITE);
  store(address, value);
}
template <class T>
static inline T atomic_add(u64 address, T value) {
  touch(address, sizeof value, ATOMIC);
  const T old = load<T>(address);
  store<T>(address, (T)(old + value));
  return old;
}

// PTX saturates, and has its own rule for NaN.
template <class I, class F>
static inline I to_integer(F x) {
  if (x != x) {
    return sizeof(F) < 8 && sizeof(I) < 8 ? (I)0 : (I)((u64)1 << (8 * sizeof(I) - 1));
  }
  const F low = (F)std::numeric_limits<I>::min();
  const F high = std::ldexp((F)1, std::numeric_limits<I>::digits);
  if (x < low) return std::numeric_limits<I>::min();
  return x >= high ? std::numeric_limits<I>::max() : (I)x;
}
static inline s64 high_product(s64 a, s64 b) { return (s64)((__int128)a * b >> 64); }
static inline u64 high_product(u64 a, u64 b) { return (u64)((unsigned __int128)a * b >> 64); }
static inline s32 high_product(s32 a, s32 b) { return (s32)((s64)a * b >> 32); }
static inline u32 high_product(u32 a, u32 b) { return (u32)((u64)a * b >> 32); }
template <class T>
static inline T shift_left(T a, u32 n) {
  return n >= 8 * sizeof(T) ? (T)0 : (T)(a << n);
}
template <class T>
static inline T shift_right(T a, u32 n) {
  if (n >= 8 * sizeof(T)) return std::is_signed_v<T> && a < 0 ? (T)-1 : (T)0;
  return a >> n;
}
template <class T>
static inline T quotient(T a, T b) {
  if (b == 0) return (T)-1;
  return std::is_signed_v<T> && b == (T)-1 ? (T)(0 - a) : (T)(a / b);
}
template <class T>
static inline T remainder_of(T a, T b) {
  if (b == 0) return a;
  return std::is_signed_v<T> && b == (T)-1 ? (T)0 : (T)(a % b);
}
static inline u32 permute(u32 a, u32 b, u32 selector) {
  const u64 bytes = (u64)b << 32 | a;
  u32 result = 0;
  for (int i = 0; i < 4; ++i) {
    const u32 choice = selector >> (4 * i) & 15;
    u32 byte = bytes >> (8 * (choice & 7)) & 255;
    if (choice & 8) byte = byte & 128 ? 255 : 0;
    result |= byte << (8 * i);
  }
  return result;
}
static inline u32 logic3(u32 a, u32 b, u32 c, u32 table) {
  u32 result = 0;
  for (int i = 0; i < 32; ++i) {
    const u32 entry = (a >> i & 1) * 4 + (b >> i & 1) * 2 + (c >> i & 1);
    result |= (table >> entry & 1) << i;
  }
  return result;
}
